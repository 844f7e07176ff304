-- Mark up to a lot of jobs that have come due as claimable. Index: dataqueue_job_later.
UPDATE dataqueue_job SET stage = 'claimable'
WHERE id = ANY(ARRAY(
    SELECT id FROM dataqueue_job
    WHERE stage = 'later' AND ready_at <= coalesce(%(now)s::timestamptz, statement_timestamp())
    ORDER BY ready_at, id LIMIT 1000
    FOR NO KEY UPDATE SKIP LOCKED
))
