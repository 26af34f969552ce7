# Prints what is no report.
echo "{\"report\":\"ready\",\"client\":\"bad 1\",\"language\":\"Bad\"}"
read -r command
echo "hello"
read -r rest
