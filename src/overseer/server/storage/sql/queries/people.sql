-- Users, their passwords, second factors, invitations and sessions.

-- name: user_all
-- $1 a name without regard to case, $2 an id; NULL: any.
SELECT p.id, p.name, p.description, p.disabled_at, p.created_at, w.principal_id IS NOT NULL AS has_password,
       t.confirmed_at IS NOT NULL AS has_second_factor,
       (SELECT max(s.created_at) FROM token s WHERE s.principal_id = p.id AND s.kind = 'session') AS last_sign_in_at,
       ARRAY(SELECT i.issuer FROM external_identity i WHERE i.principal_id = p.id ORDER BY i.issuer, i.subject) AS issuers,
       ARRAY(SELECT i.subject FROM external_identity i WHERE i.principal_id = p.id ORDER BY i.issuer, i.subject) AS subjects
FROM principal p
LEFT JOIN user_password w ON w.principal_id = p.id
LEFT JOIN user_totp t ON t.principal_id = p.id
WHERE p.kind = 'user' AND ($1::text IS NULL OR lower(p.name) = lower($1)) AND ($2::uuid IS NULL OR p.id = $2)
ORDER BY lower(p.name);

-- name: user_describe
UPDATE principal SET description = $2 WHERE id = $1 AND kind = 'user';

-- name: user_enable
UPDATE principal SET disabled_at = NULL WHERE id = $1 AND kind = 'user';

-- name: user_credentials
-- What a sign-in is checked against; $1 a name without regard to case.
SELECT p.id, p.name, p.disabled_at IS NOT NULL AS disabled, w.phc, t.confirmed_at IS NOT NULL AS has_second_factor
FROM principal p
LEFT JOIN user_password w ON w.principal_id = p.id
LEFT JOIN user_totp t ON t.principal_id = p.id
WHERE p.kind = 'user' AND lower(p.name) = lower($1);

-- name: user_lock
-- Whoever signs in as, resets or changes the same user waits here.
SELECT p.id FROM principal p WHERE p.id = $1 AND p.kind = 'user' FOR UPDATE;

-- name: password_get
SELECT phc FROM user_password WHERE principal_id = $1;

-- name: password_set
INSERT INTO user_password (principal_id, phc) VALUES ($1, $2)
ON CONFLICT (principal_id) DO UPDATE SET phc = excluded.phc, changed_at = clock_timestamp();

-- name: password_rehash
-- Another hash of the same password, only where it was not changed meanwhile.
UPDATE user_password SET phc = $3 WHERE principal_id = $1 AND phc = $2;

-- name: password_drop
DELETE FROM user_password WHERE principal_id = $1;

-- name: totp_get
SELECT id, format, kek_term, wrapped_dek, ciphertext, last_step, confirmed_at IS NOT NULL AS confirmed
FROM user_totp WHERE principal_id = $1 FOR UPDATE;

-- name: totp_replace
INSERT INTO user_totp (principal_id, id, format, kek_term, wrapped_dek, ciphertext) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (principal_id) DO UPDATE SET id = excluded.id, format = excluded.format, kek_term = excluded.kek_term,
    wrapped_dek = excluded.wrapped_dek, ciphertext = excluded.ciphertext, last_step = 0, created_at = clock_timestamp()
WHERE user_totp.confirmed_at IS NULL;

-- name: totp_use_step
UPDATE user_totp SET last_step = $2, confirmed_at = COALESCE(confirmed_at, statement_timestamp())
WHERE principal_id = $1 AND last_step < $2;

-- name: totp_drop
DELETE FROM user_totp WHERE principal_id = $1;

-- name: recovery_replace
WITH gone AS (DELETE FROM recovery_code WHERE principal_id = $1)
INSERT INTO recovery_code (principal_id, hash) SELECT $1, h FROM unnest($2::bytea[]) AS n (h);

-- name: recovery_drop
DELETE FROM recovery_code WHERE principal_id = $1;

-- name: recovery_use_of
-- $1 a name without regard to case.
UPDATE recovery_code c SET used_at = statement_timestamp() FROM principal p
WHERE p.id = c.principal_id AND p.kind = 'user' AND lower(p.name) = lower($1) AND c.hash = $2 AND c.used_at IS NULL;

-- name: recovery_use
UPDATE recovery_code SET used_at = statement_timestamp() WHERE principal_id = $1 AND hash = $2 AND used_at IS NULL;

-- name: recovery_left
SELECT count(*) FROM recovery_code WHERE principal_id = $1 AND used_at IS NULL;

-- name: invitation_insert
INSERT INTO invitation (hash, id, principal_id, expires_at, created_by) VALUES ($1, $2, $3, $4, $5);

-- name: invitation_find
SELECT i.principal_id, p.name FROM invitation i JOIN principal p ON p.id = i.principal_id
WHERE i.hash = $1 AND i.expires_at > statement_timestamp() AND p.disabled_at IS NULL;

-- name: invitation_use
-- Used once: the row goes, and every other invitation of the same user with it.
WITH used AS (DELETE FROM invitation WHERE hash = $1 AND expires_at > statement_timestamp() RETURNING principal_id, created_by),
     others AS (DELETE FROM invitation i USING used u WHERE i.principal_id = u.principal_id AND i.hash <> $1)
SELECT u.principal_id, p.name, u.created_by FROM used u JOIN principal p ON p.id = u.principal_id AND p.disabled_at IS NULL;

-- name: invitation_drop
DELETE FROM invitation WHERE principal_id = $1;

-- name: session_insert
INSERT INTO token (hash, id, principal_id, description, expires_at, created_by, kind, idle_seconds, enrolling)
VALUES ($1, $2, $3, $4, $5, $3, 'session', $6, $7);

-- name: session_rotate
-- Another secret for the same session: id, end and history stay.
UPDATE token SET hash = $2, enrolling = $3 WHERE id = $1 AND kind = 'session' AND revoked_at IS NULL;

-- name: session_is_live
-- Read anew, after a lock was waited for.
SELECT t.id FROM token t WHERE t.id = $1 AND t.hash = $2 AND t.revoked_at IS NULL;

-- name: session_all
-- Live sessions; $1 whose (NULL: everybody's), $2 one id (NULL: any).
SELECT t.id, t.principal_id, p.name AS principal, t.description, t.created_at, t.last_used_at, t.expires_at, t.idle_seconds
FROM token t JOIN principal p ON p.id = t.principal_id
WHERE t.kind = 'session' AND t.revoked_at IS NULL AND t.expires_at > statement_timestamp()
  AND COALESCE(t.last_used_at, t.created_at) + make_interval(secs => t.idle_seconds) > statement_timestamp()
  AND ($1::uuid IS NULL OR t.principal_id = $1) AND ($2::uuid IS NULL OR t.id = $2)
ORDER BY p.name, t.created_at DESC, t.id;

-- name: session_keep_newest
-- Of a user's live sessions the newest $2 stay. The others are deleted and not revoked: whoever signs in all day fills no table.
DELETE FROM token WHERE id IN (
    SELECT t.id FROM token t
    WHERE t.principal_id = $1 AND t.kind = 'session' AND t.revoked_at IS NULL AND t.expires_at > statement_timestamp()
    ORDER BY t.created_at DESC, t.id DESC OFFSET $2
);

-- name: session_revoke_of
-- All live sessions of a user but $2 (NULL: none is spared).
UPDATE token SET revoked_at = statement_timestamp()
WHERE principal_id = $1 AND kind = 'session' AND revoked_at IS NULL AND expires_at > statement_timestamp()
  AND id IS DISTINCT FROM $2::uuid;

-- name: sign_in_try_open
INSERT INTO sign_in_try (name_key, peer) VALUES ($1, ''), ($1, $2) ON CONFLICT DO NOTHING;

-- name: sign_in_try_lock
SELECT peer, failures, failed_at, blocked_until, good_at, statement_timestamp() AS now
FROM sign_in_try WHERE name_key = $1 AND peer IN ('', $2) ORDER BY peer FOR UPDATE;

-- name: sign_in_try_store
UPDATE sign_in_try SET failures = $3, failed_at = $4, blocked_until = $5, good_at = $6 WHERE name_key = $1 AND peer = $2;

-- name: sign_in_try_forget
DELETE FROM sign_in_try
WHERE COALESCE(failed_at, '-infinity') < statement_timestamp() - interval '1 day'
  AND COALESCE(good_at, '-infinity') < statement_timestamp() - interval '30 days';

-- name: people_forget
-- Sessions that ended a week ago (the audit log keeps their ids), invitations, and what was spent and would not be taken any more.
WITH sessions AS (DELETE FROM token WHERE kind = 'session' AND expires_at < statement_timestamp() - interval '7 days'),
     invitations AS (DELETE FROM invitation WHERE expires_at < statement_timestamp())
DELETE FROM spent_credential WHERE expires_at < statement_timestamp() - interval '1 hour';

-- name: external_identity_insert
INSERT INTO external_identity (issuer, subject, principal_id) VALUES ($1, $2, $3);

-- name: external_identity_delete
DELETE FROM external_identity WHERE issuer = $1 AND subject = $2;

-- name: external_identity_use
UPDATE external_identity i SET last_used_at = statement_timestamp()
FROM principal p WHERE p.id = i.principal_id AND i.issuer = $1 AND i.subject = $2
RETURNING p.id, p.name;

-- name: credential_spend
INSERT INTO spent_credential (hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: external_groups_follow
-- The user's memberships in the groups $2 become exactly those in $3; what changed.
WITH gone AS (
    DELETE FROM group_member m USING principal_group g
    WHERE g.id = m.group_id AND m.principal_id = $1 AND g.name = ANY ($2::text[]) AND g.name <> ALL ($3::text[])
    RETURNING g.id, g.name
), come AS (
    INSERT INTO group_member (principal_id, group_id) SELECT $1, g.id FROM principal_group g WHERE g.name = ANY ($3::text[])
    ON CONFLICT DO NOTHING RETURNING group_id
)
SELECT g.id, g.name, true AS added FROM come c JOIN principal_group g ON g.id = c.group_id
UNION ALL SELECT id, name, false FROM gone ORDER BY name;
