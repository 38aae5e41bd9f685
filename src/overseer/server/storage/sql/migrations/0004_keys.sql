-- Keys: rotation of the keyring, reserved wraps.
SELECT 1;
