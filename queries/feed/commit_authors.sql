-- Who wrote the pushed commits, in how many pushes to how many repositories?
select
  commit['author']['name'] as author,
  count(*) as commits,
  count(distinct id) as pushes,
  count(distinct repo_name) as repos,
  sum(char_length(commit['message'])) as message_characters
from (
  select id, repo['name'] as repo_name, unnest(payload['commits']) as commit
  from lake.feed
  where type = 'PushEvent'
) as pushed
group by 1
order by commits desc, author
