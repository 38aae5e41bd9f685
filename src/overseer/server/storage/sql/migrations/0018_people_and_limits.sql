-- People and limits.
SELECT 1;
