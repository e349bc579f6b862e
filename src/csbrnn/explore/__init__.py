"""Design exploration: which network to deploy, by accuracy and measured cost.

`space` holds the configurations, `recipe` reads them and the bounds from a file, `trial` trains one
and `cost` measures it. `stages` decides what comes first (with `bisection`), Optuna's sampler what
comes then, `pruner` what is given up; `storage` shares the work between processes and machines,
`worker` is one of them. `outcome` is what a trial comes to, `result` the Pareto front, `picture`
the page that shows it.
"""
