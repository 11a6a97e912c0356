-- Where was each device when it last told its position, and how full was its battery then?
select
  device,
  to_char(ts, '%Y-%m-%d %H:%M:%S') as seen,
  round(position['lat'], 4) as lat,
  round(position['lon'], 4) as lon,
  battery
from (
  select device, ts, position, battery, row_number() over (partition by device order by ts desc) as age
  from lake.readings
  where position['lat'] is not null
) as placed
where age = 1
order by device
