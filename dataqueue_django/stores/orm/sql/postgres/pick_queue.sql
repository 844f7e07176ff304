-- Jobs to claim from one queue, in claim order. Index: dataqueue_job_claimable.
-- Used when no unwanted type stands in the queue; the filter by type still holds, for one that has just come.
SELECT id FROM dataqueue_job
WHERE stage = 'claimable' AND group_id IS NULL AND queue = %(queue)s AND job_type = ANY(%(types)s) AND {crashed}
ORDER BY priority DESC, position, ready_at, id LIMIT %(limit)s
FOR NO KEY UPDATE SKIP LOCKED
