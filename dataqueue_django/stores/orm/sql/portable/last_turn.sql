-- Which group of a queue and job type had its turn last? Input: the name of both.
SELECT group_id FROM dataqueue_turn WHERE id = %s
