-- Jobs that were chosen among those that can be claimed, if they still can.
SELECT id FROM dataqueue_job
WHERE stage = 'claimable' AND id = ANY(%(ids)s) AND {crashed}
ORDER BY priority DESC, position, ready_at, id LIMIT %(limit)s
FOR NO KEY UPDATE SKIP LOCKED
