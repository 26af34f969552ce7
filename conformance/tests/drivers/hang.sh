# Does nothing, and does not end.
echo "{\"report\":\"ready\",\"client\":\"bad 1\",\"language\":\"Bad\"}"
exec sleep 1000
