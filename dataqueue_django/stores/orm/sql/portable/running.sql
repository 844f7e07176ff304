-- How many jobs run, by queue, type and group? Index: dataqueue_job_worker, so that no more are read than run.
-- By a range, which every id is in: SQLite without statistics takes an index on queues, and all jobs, for IS NOT NULL.
SELECT queue, job_type, group_id, count(*) FROM dataqueue_job
WHERE worker_id > 0
GROUP BY queue, job_type, group_id
