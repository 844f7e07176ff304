-- Jobs to claim from several lanes after a first look came back short: as pick_lanes, but each lane's head is locked as
-- it is read, so that rows which others hold are passed by and do not stand in the way of those behind them.
SELECT head.id
FROM unnest(%(queues)s::text[], %(types)s::text[]) AS lane(queue, job_type)
CROSS JOIN LATERAL (
    SELECT j.id, j.priority, j.position, j.ready_at FROM dataqueue_job j
    WHERE j.stage = 'claimable' AND j.group_id IS NULL AND j.queue = lane.queue AND j.job_type = lane.job_type AND j.{crashed}
    ORDER BY j.priority DESC, j.position, j.ready_at, j.id LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
) AS head
ORDER BY head.priority DESC, head.position, head.ready_at, head.id LIMIT %(limit)s
