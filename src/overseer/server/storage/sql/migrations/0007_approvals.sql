-- Approvals: policies, requests, decisions.
SELECT 1;
