-- CTEs that hand the picked jobs to a worker whose row has not expired, with their `processing` events.
-- Where pauses or limits changed since the pick was made up, nothing is handed out.
-- ANY(array) and not a join: the pick runs once, under any plan, so a limit stays a limit.
picked AS MATERIALIZED (
    SELECT ARRAY({pick}) AS ids
), started AS (
    UPDATE dataqueue_job j SET
        status = 'processing', stage = NULL, ready_at = NULL, claim_seq = j.claim_seq + 1,
        attempts = j.attempts + CASE WHEN j.resuming THEN 0 ELSE 1 END, resuming = false, pending_reason = NULL,
        wait_until = NULL, wait_token_id = NULL,
        paused_at = NULL, paused_by = NULL, pause_reason = NULL, paused_until = NULL, held_ready_at = NULL,
        worker_id = %(worker)s, locked_by = %(label)s, locked_at = clock.at, last_started_at = clock.at,
        started_at = coalesce(j.started_at, clock.at), updated_at = clock.at
    FROM clock
    WHERE j.id = ANY((SELECT ids FROM picked)::bigint[])
      AND EXISTS (SELECT 1 FROM dataqueue_worker w WHERE w.id = %(worker)s AND w.expired_at IS NULL)
      AND coalesce((SELECT c.stamp FROM dataqueue_controlstamp c WHERE c.id = 1), '') = %(stamp)s
    RETURNING j.id, j.job_type, j.queue, j.payload, j.priority, j.attempts, j.max_attempts, j.claim_seq, j.run_at,
        j.created_at, j.timeout_ms, j.isolate, j.retry_delay_ms, j.retry_backoff, j.retry_delay_max_ms, j.crash_count,
        j.tags, j.group_id, j.scheduled_for, j.context, j.locked_at, array_position((SELECT ids FROM picked), j.id) AS place
), start_events AS (
    INSERT INTO dataqueue_jobevent (job_id, event_type, created_at, claim_seq, attempt, worker_id)
    SELECT s.id, 'processing', clock.at, s.claim_seq, s.attempts, %(worker)s FROM started s, clock
)
