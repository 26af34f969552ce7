# Ends in the middle.
echo "{\"report\":\"ready\",\"client\":\"bad 1\",\"language\":\"Bad\"}"
read -r command
echo "what went wrong" >&2
exit 3
