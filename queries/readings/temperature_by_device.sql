-- How warm and how humid was it at each device?
select
  device,
  round(min(temperature), 2) as coldest,
  round(avg(temperature), 2) as mean,
  round(max(temperature), 2) as warmest,
  round(avg(humidity), 2) as humidity
from lake.readings
group by device
order by device
