-- Access: groups, custom roles, break-glass bindings.
SELECT 1;
