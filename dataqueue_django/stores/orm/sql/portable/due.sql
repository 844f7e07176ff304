-- Is there a job that can be claimed, without a group, of one, or that has just come due? Input: the time.
SELECT EXISTS (SELECT 1 FROM dataqueue_job WHERE stage = 'claimable' AND group_id IS NULL)
    OR EXISTS (SELECT 1 FROM dataqueue_job WHERE stage = 'claimable' AND group_id IS NOT NULL)
    OR EXISTS (SELECT 1 FROM dataqueue_job WHERE stage = 'later' AND ready_at <= %s)
