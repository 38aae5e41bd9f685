-- People: users' credentials, sessions, invitations, external identities.
SELECT 1;
