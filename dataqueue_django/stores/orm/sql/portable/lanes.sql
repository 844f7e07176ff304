-- Which (queue, job_type) pairs have a job that can be claimed now?
-- Steps through dataqueue_job_lane one pair at a time, so the cost grows with the number of pairs, not of jobs.
WITH RECURSIVE
queues(queue) AS (
    SELECT min(queue) FROM dataqueue_job WHERE stage = 'claimable'
    UNION ALL
    SELECT (SELECT min(j.queue) FROM dataqueue_job j WHERE j.stage = 'claimable' AND j.queue > queues.queue)
    FROM queues WHERE queues.queue IS NOT NULL
),
lanes(queue, job_type) AS (
    SELECT queues.queue, (
        SELECT min(j.job_type) FROM dataqueue_job j WHERE j.stage = 'claimable' AND j.queue = queues.queue
    )
    FROM queues WHERE queues.queue IS NOT NULL
    UNION ALL
    SELECT lanes.queue, (
        SELECT min(j.job_type) FROM dataqueue_job j
        WHERE j.stage = 'claimable' AND j.queue = lanes.queue AND j.job_type > lanes.job_type
    )
    FROM lanes WHERE lanes.job_type IS NOT NULL
)
SELECT queue, job_type FROM lanes WHERE job_type IS NOT NULL
