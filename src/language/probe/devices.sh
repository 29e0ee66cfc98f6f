# What a machine computes with and whether it reaches the internet, after head.sh: asked of login and of compute nodes alike.
section gpus
if have nvidia-smi; then
  within 15 nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader,nounits
  within 15 nvidia-smi | sed -n 's/.*CUDA Version: *\([0-9.]*\).*/cuda=\1/p'
fi
section amd
if have rocm-smi; then
  within 15 rocm-smi --showproductname --showmeminfo vram --showdriverversion --csv
fi

section internet
if have curl; then
  within 10 curl -s -o /dev/null -I -m 6 https://github.com; echo "curl=$?"
elif have wget; then
  within 10 wget -q -T 6 -t 1 --spider https://github.com; echo "wget=$?"
fi
