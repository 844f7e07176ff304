-- Insert a lot of jobs with their tags and `added` events; answers id, whether it is new, and the time, in input order.
-- Inputs: the jobs as one JSON array with their place in `n`; `now` or NULL.
-- Keys are inserted in sorted order, so that two lots with common keys cannot deadlock; dataqueue_job_idempotency
-- decides. Ids are drawn first because INSERT … RETURNING cannot name the input row.
WITH clock AS (
    SELECT coalesce(%(now)s::timestamptz, statement_timestamp()) AS at
), given AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('dataqueue_job', 'id')) AS id, r.*
    FROM jsonb_to_recordset(%(jobs)s::jsonb) AS r(
        n integer, job_type text, payload jsonb, queue text, priority integer, max_attempts integer,
        run_at timestamptz, timeout_ms bigint, isolate boolean, retry_delay_ms bigint, retry_backoff text,
        retry_delay_max_ms bigint, dead_letter_job_type text, tags jsonb, idempotency_key text, group_id text,
        cron_schedule_id bigint, scheduled_for timestamptz, context jsonb
    )
), fresh AS (
    INSERT INTO dataqueue_job (
        id, job_type, payload, queue, priority, max_attempts, run_at, ready_at, stage, timeout_ms, isolate,
        retry_delay_ms, retry_backoff, retry_delay_max_ms, dead_letter_job_type, tags, idempotency_key, group_id,
        cron_schedule_id, scheduled_for, context, created_at, updated_at
    )
    SELECT
        g.id, g.job_type, g.payload, g.queue, g.priority, g.max_attempts, coalesce(g.run_at, clock.at),
        coalesce(g.run_at, clock.at), CASE WHEN g.run_at > clock.at THEN 'later' ELSE 'claimable' END,
        g.timeout_ms, g.isolate, g.retry_delay_ms, g.retry_backoff, g.retry_delay_max_ms, g.dead_letter_job_type,
        g.tags, g.idempotency_key, g.group_id, g.cron_schedule_id, g.scheduled_for, g.context, clock.at, clock.at
    FROM given g, clock
    ORDER BY g.idempotency_key NULLS FIRST, g.n
    ON CONFLICT (idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id, tags
), tagged AS (
    INSERT INTO dataqueue_jobtag (job_id, tag)
    SELECT fresh.id, tag FROM fresh, jsonb_array_elements_text(fresh.tags) AS tag WHERE fresh.tags IS NOT NULL
), logged AS (
    INSERT INTO dataqueue_jobevent (job_id, event_type, created_at)
    SELECT fresh.id, 'added', clock.at FROM fresh, clock ORDER BY fresh.id
)
SELECT g.id, fresh.id IS NOT NULL, clock.at
FROM clock, given g LEFT JOIN fresh ON fresh.id = g.id
ORDER BY g.n
