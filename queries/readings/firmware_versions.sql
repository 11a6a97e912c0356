-- Which firmware sent how many readings, on how many devices, from when to when (UTC)?
-- firmware is an integer in early objects and a string in later ones, so the column is a string.
select
  firmware,
  count(*) as readings,
  count(distinct device) as devices,
  to_char(min(ts), '%Y-%m-%d %H:%M:%S') as first_seen,
  to_char(max(ts), '%Y-%m-%d %H:%M:%S') as last_seen
from lake.readings
group by firmware
order by firmware
