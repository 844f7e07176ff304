-- How many jobs run, by queue, type and group? Index: dataqueue_job_worker, so that no more are read than run.
SELECT queue, job_type, group_id, count(*) FROM dataqueue_job
WHERE worker_id IS NOT NULL
GROUP BY queue, job_type, group_id
