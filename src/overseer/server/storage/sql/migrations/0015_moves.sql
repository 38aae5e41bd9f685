-- Moving apps between instances.
SELECT 1;
