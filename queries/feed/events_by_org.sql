-- How many events, on how many days (UTC), belong to each organisation?
-- The key is org in most records and Org in some; both are the column org.
select
  coalesce(org['login'], 'none') as org,
  count(*) as events,
  count(*) filter (where public) as public_events,
  count(distinct cast(date_trunc('day', created_at) as date)) as days
from lake.feed
group by 1
order by events desc, org
