-- How many pull requests did each repository see, how many were merged, and which repository took in the most lines?
select
  repo['name'] as repo,
  count(*) as pull_requests,
  count(*) filter (where payload['merged']) as merged,
  coalesce(sum(payload['pull_request']['additions']) filter (where payload['merged']), 0) as lines_added,
  rank() over (
    order by coalesce(sum(payload['pull_request']['additions']) filter (where payload['merged']), 0) desc
  ) as place
from lake.feed
where type = 'PullRequestEvent'
group by 1
order by place, repo
