-- The first jobs of several lanes, in claim order within each. Index: dataqueue_job_lane.
SELECT lane.number, head.*
FROM unnest(%(numbers)s::integer[], %(queues)s::text[], %(types)s::text[]) AS lane(number, queue, job_type)
CROSS JOIN LATERAL (
    SELECT j.id, j.queue, j.job_type, j.group_id, j.priority, j.position, j.ready_at FROM dataqueue_job j
    WHERE j.stage = 'claimable' AND j.group_id IS NULL AND j.queue = lane.queue AND j.job_type = lane.job_type
      AND j.{crashed}
    ORDER BY j.priority DESC, j.position, j.ready_at, j.id LIMIT %(limit)s
) AS head
ORDER BY lane.number, head.priority DESC, head.position, head.ready_at, head.id
