-- Which (queue, job_type) pairs have a job that can be claimed now, without a group (0) and of one (1)?
-- Steps through dataqueue_job_lane and dataqueue_job_turn one pair at a time, so the cost grows with the number of
-- pairs, not of jobs.
WITH RECURSIVE
queues(queue) AS (
    SELECT min(queue) FROM dataqueue_job WHERE stage = 'claimable' AND group_id IS NULL
    UNION ALL
    SELECT (
        SELECT min(j.queue) FROM dataqueue_job j
        WHERE j.stage = 'claimable' AND j.group_id IS NULL AND j.queue > queues.queue
    )
    FROM queues WHERE queues.queue IS NOT NULL
),
lanes(queue, job_type) AS (
    SELECT queues.queue, (
        SELECT min(j.job_type) FROM dataqueue_job j
        WHERE j.stage = 'claimable' AND j.group_id IS NULL AND j.queue = queues.queue
    )
    FROM queues WHERE queues.queue IS NOT NULL
    UNION ALL
    SELECT lanes.queue, (
        SELECT min(j.job_type) FROM dataqueue_job j
        WHERE j.stage = 'claimable' AND j.group_id IS NULL AND j.queue = lanes.queue AND j.job_type > lanes.job_type
    )
    FROM lanes WHERE lanes.job_type IS NOT NULL
),
queues_of_groups(queue) AS (
    SELECT min(queue) FROM dataqueue_job WHERE stage = 'claimable' AND group_id IS NOT NULL
    UNION ALL
    SELECT (
        SELECT min(j.queue) FROM dataqueue_job j
        WHERE j.stage = 'claimable' AND j.group_id IS NOT NULL AND j.queue > queues_of_groups.queue
    )
    FROM queues_of_groups WHERE queues_of_groups.queue IS NOT NULL
),
lanes_of_groups(queue, job_type) AS (
    SELECT queues_of_groups.queue, (
        SELECT min(j.job_type) FROM dataqueue_job j
        WHERE j.stage = 'claimable' AND j.group_id IS NOT NULL AND j.queue = queues_of_groups.queue
    )
    FROM queues_of_groups WHERE queues_of_groups.queue IS NOT NULL
    UNION ALL
    SELECT lanes_of_groups.queue, (
        SELECT min(j.job_type) FROM dataqueue_job j
        WHERE j.stage = 'claimable' AND j.group_id IS NOT NULL AND j.queue = lanes_of_groups.queue
          AND j.job_type > lanes_of_groups.job_type
    )
    FROM lanes_of_groups WHERE lanes_of_groups.job_type IS NOT NULL
)
SELECT queue, job_type, 0 FROM lanes WHERE job_type IS NOT NULL
UNION ALL
SELECT queue, job_type, 1 FROM lanes_of_groups WHERE job_type IS NOT NULL
