-- How often was an issue with each label opened and closed?
select
  label['name'] as label,
  label['color'] as color,
  count(*) filter (where action = 'opened') as opened,
  count(*) filter (where action = 'closed') as closed
from (
  select payload['action'] as action, unnest(payload['issue']['labels']) as label
  from lake.feed
  where type = 'IssuesEvent'
) as labelled
group by 1, 2
order by label, color
