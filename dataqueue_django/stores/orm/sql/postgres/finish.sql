-- CTEs that complete a batch of executions, each fenced by (id, claim_seq) and by nothing else: with the status in the
-- predicate the planner reads a whole partial index instead of the primary key. Rows that others hold are skipped; the
-- caller finds out whether they are lost or only busy. Locks are taken in ascending order of ids.
held AS MATERIALIZED (
    SELECT j.id, g.claim_seq, g.output, g.reported, g.progress, g.message, g.data
    FROM unnest(
        %(ids)s::bigint[], %(seqs)s::bigint[], %(outputs)s::text[], %(reported)s::boolean[],
        %(progress)s::smallint[], %(messages)s::text[], %(datas)s::text[]
    ) AS g(id, claim_seq, output, reported, progress, message, data)
    JOIN dataqueue_job j ON j.id = g.id AND j.claim_seq = g.claim_seq
    ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED
), finished AS (
    UPDATE dataqueue_job j SET
        status = 'completed', claim_seq = j.claim_seq + 1, finished_at = clock.at, updated_at = clock.at,
        ready_at = NULL, stage = NULL, resuming = false, failure_reason = NULL,
        worker_id = NULL, locked_by = NULL, locked_at = NULL,
        output = coalesce(held.output::jsonb, j.output),
        progress = CASE WHEN held.reported THEN held.progress ELSE j.progress END,
        progress_message = CASE WHEN held.reported THEN held.message ELSE j.progress_message END,
        progress_data = CASE WHEN held.reported THEN held.data::jsonb ELSE j.progress_data END
    FROM held, clock
    WHERE j.id = held.id AND j.claim_seq = held.claim_seq
    RETURNING j.id, held.claim_seq, j.attempts
), finish_events AS (
    INSERT INTO dataqueue_jobevent (job_id, event_type, created_at, claim_seq, attempt)
    SELECT f.id, 'completed', clock.at, f.claim_seq, f.attempts FROM finished f, clock
)
