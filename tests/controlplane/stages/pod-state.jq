# What should happen to this pod next, as the name of a stage. Annotations of the pod steer it:
#   bed.nave.dev/ready-after: 5s       runs at once, is ready only then
#   bed.nave.dev/fail: <reason>        never becomes ready: CrashLoopBackOff, ErrImagePull, Error, OOMKilled, …
#   bed.nave.dev/fail-after: 5s        with `fail`: is ready first, and fails then
#   bed.nave.dev/complete-after: 5s    pods of Jobs succeed at once; this delays it, and makes other pods succeed too
def note($name): .metadata.annotations["bed.nave.dev/" + $name];
def is_ready: any(.status.conditions[]?; .type == "Ready" and .status == "True");
def reasons: [.status.containerStatuses[]?.state | (.waiting // .terminated // {}) | .reason];
note("fail") as $fail
| note("fail-after") as $fail_after
| if .metadata.deletionTimestamp then "deleting"
  elif .status.phase == "Succeeded" or .status.phase == "Failed" then "finished"
  elif $fail and any(reasons[]; . == $fail) then "failed"
  elif $fail and (is_ready or ($fail_after | not)) then "failing"
  elif is_ready and (note("complete-after") or any(.metadata.ownerReferences[]?; .kind == "Job")) then "completing"
  elif is_ready then "running"
  elif note("ready-after") and (.status.containerStatuses | not) then "starting"
  else "getting-ready"
  end
