-- Using the audit log: searching, who saw what, retention, sinks. Nothing here is written on the way of a reveal.

-- No transaction of a row that was written before this checkpoint has this id or a later one: where a search by time begins.
ALTER TABLE audit_checkpoint ADD COLUMN ceiling xid8 NOT NULL DEFAULT pg_snapshot_xmax(pg_current_snapshot());
CREATE INDEX audit_checkpoint_at ON audit_checkpoint (at);

-- The rows with free text, by whose they are: few, for a reveal by a client of ours has none.
CREATE INDEX audit_with_text ON audit (actor_id) WHERE text_id IS NOT NULL;

-- How far a reader of the log has come (a sink, the summary below): the key of the last row that it is done with.
CREATE TABLE audit_reader (
    name            text COLLATE "C" PRIMARY KEY,
    incarnation     integer NOT NULL,
    xact            xid8 NOT NULL,
    id              bigint NOT NULL,
    checkpoint_size bigint NOT NULL DEFAULT 0,
    checkpoint_at   timestamptz,
    alarmed_at      timestamptz
);

-- What each principal was shown or wrote, from the rows of the log as far as the reader 'seen' has come; it outlives them.
CREATE TABLE audit_seen (
    actor_id        uuid NOT NULL,
    secret_id       uuid NOT NULL,
    version         integer NOT NULL,
    action          text COLLATE "C" NOT NULL,
    at              timestamptz NOT NULL,
    PRIMARY KEY (actor_id, secret_id, version, action)
);

-- Rows leave the log by one way only: the function below, which acts as the owner of the table and takes the oldest rows up to a
-- checkpoint for which a statement is stored, none younger than 30 days.
CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('overseer.audit_forget', true) = 'on'
       AND pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION audit_forget(up_to bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    edge record;
    removed bigint;
BEGIN
    SELECT c.incarnation, c.horizon INTO edge FROM public.audit_checkpoint c JOIN public.audit_retention r USING (size)
    WHERE c.size = up_to AND c.size = (SELECT max(size) FROM public.audit_retention);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no statement says that these rows may go' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF EXISTS (SELECT FROM public.audit a WHERE (a.incarnation, a.xact) < (edge.incarnation, edge.horizon)
               AND a.at > clock_timestamp() - interval '30 days') THEN
        RAISE EXCEPTION 'rows of the last 30 days stay' USING ERRCODE = 'insufficient_privilege';
    END IF;
    DELETE FROM public.audit_text t USING public.audit a
    WHERE t.id = a.text_id AND (a.incarnation, a.xact) < (edge.incarnation, edge.horizon);
    -- Not in the function's head: only a superuser may write a setting there that PostgreSQL does not know.
    PERFORM set_config('overseer.audit_forget', 'on', true);
    DELETE FROM public.audit a WHERE (a.incarnation, a.xact) < (edge.incarnation, edge.horizon);
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM set_config('overseer.audit_forget', 'off', true);
    RETURN removed;
END $$;
REVOKE ALL ON FUNCTION audit_forget(bigint) FROM PUBLIC;
