-- Backends: where they are, what a secret is taken from, what was fetched.
SELECT 1;
