-- Writing and reading the audit log. incarnation, xact and id are the database's, never ours.

-- name: audit_insert
INSERT INTO audit (request_id, actor_id, actor_name, actor_kind, on_behalf_of, token_id, action, outcome, code, resource_kind,
                   resource_id, resource_name, app, environment, node, version, peer, client, repeats, text_id, text_commitment)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::text[],
                     $10::text[], $11::uuid[], $12::text[], $13::text[], $14::text[], $15::text[], $16::integer[], $17::text[],
                     $18::text[], $19::integer[], $20::uuid[], $21::bytea[]);

-- name: audit_text_insert
INSERT INTO audit_text (id, salt, reason, user_agent) SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::text[]);
