-- Named jobs without a group to claim from some lanes, in claim order.
SELECT id FROM dataqueue_job
WHERE stage = 'claimable' AND group_id IS NULL AND id = ANY(%(ids)s)
  AND (queue, job_type) IN (SELECT * FROM unnest(%(queues)s::text[], %(types)s::text[])) AND {crashed}
ORDER BY priority DESC, position, ready_at, id LIMIT %(limit)s
FOR NO KEY UPDATE SKIP LOCKED
