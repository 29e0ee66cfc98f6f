# Whether a machine reaches the internet, after head.sh: asked of login and of compute nodes alike, where the host's policy lets us.
section internet
if have curl; then
  within 10 curl -s -o /dev/null -I -m 6 https://github.com; echo "curl=$?"
elif have wget; then
  within 10 wget -q -T 6 -t 1 --spider https://github.com; echo "wget=$?"
fi
