-- Which groups of a queue and job type have a job that can be claimed now, after a name, by name?
-- Inputs: queue, job type, name; queue, job type, how many. Steps through dataqueue_job_turn one group at a time.
WITH RECURSIVE turns(group_id, n) AS (
    SELECT (
        SELECT min(group_id) FROM dataqueue_job
        WHERE stage = 'claimable' AND queue = %s AND job_type = %s AND group_id > %s
    ), 1
    UNION ALL
    SELECT (
        SELECT min(j.group_id) FROM dataqueue_job j
        WHERE j.stage = 'claimable' AND j.queue = %s AND j.job_type = %s AND j.group_id > turns.group_id
    ), turns.n + 1
    FROM turns WHERE turns.group_id IS NOT NULL AND turns.n < %s
)
SELECT group_id FROM turns WHERE group_id IS NOT NULL
