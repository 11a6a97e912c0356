-- How many days lie between the day of the order (UTC) and the day it was shipped?
select
  cast((date_part('epoch', shippedon) - date_part('epoch', cast(createdat as date))) / 86400 as bigint) as days,
  count(*) as orders,
  count(*) filter (where status = 'delivered') as delivered
from lake.orders
where shippedon is not null
group by 1
order by days
