-- Rotation: policies, runs, rotators.
SELECT 1;
