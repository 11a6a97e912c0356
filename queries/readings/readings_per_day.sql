-- How many readings fall on each day (UTC), from how many devices, and how many of them carry a temperature?
select
  cast(date_trunc('day', ts) as date) as day,
  count(*) as readings,
  count(distinct device) as devices,
  count(temperature) as temperatures
from lake.readings
group by 1
order by day
