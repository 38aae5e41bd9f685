-- Hot paths: statements and indexes for batches.
SELECT 1;
