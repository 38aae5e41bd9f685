-- Batch writes, limits and the rest of the API.
SELECT 1;
