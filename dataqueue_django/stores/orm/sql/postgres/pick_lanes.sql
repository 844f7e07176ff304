-- Jobs to claim from several lanes, in claim order over all of them. Index: dataqueue_job_lane.
-- The heads of the lanes are read without locks, more of them than wanted, so that claimers that look at the same
-- heads do not leave each other empty-handed; then as many as wanted are locked.
SELECT id FROM dataqueue_job
WHERE stage = 'claimable' AND id = ANY(ARRAY(
    SELECT head.id
    FROM unnest(%(queues)s::text[], %(types)s::text[]) AS lane(queue, job_type)
    CROSS JOIN LATERAL (
        SELECT j.id, j.priority, j.position, j.ready_at FROM dataqueue_job j
        WHERE j.stage = 'claimable' AND j.group_id IS NULL AND j.queue = lane.queue AND j.job_type = lane.job_type AND j.{crashed}
        ORDER BY j.priority DESC, j.position, j.ready_at, j.id LIMIT %(limit)s
    ) AS head
    ORDER BY head.priority DESC, head.position, head.ready_at, head.id LIMIT %(limit)s * 4
))
ORDER BY priority DESC, position, ready_at, id LIMIT %(limit)s
FOR NO KEY UPDATE SKIP LOCKED
