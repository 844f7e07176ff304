-- Named jobs to claim, in claim order.
SELECT id FROM dataqueue_job
WHERE stage = 'claimable' AND id = ANY(%(ids)s) AND queue = ANY(%(queues)s) AND job_type = ANY(%(types)s)
  AND {crashed}
ORDER BY priority DESC, position, ready_at, id LIMIT %(limit)s
FOR NO KEY UPDATE SKIP LOCKED
