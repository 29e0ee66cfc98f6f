# What a machine computes with, after head.sh: asked of login and of compute nodes alike.
section gpus
if have nvidia-smi; then
  within 15 nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader,nounits
  within 15 nvidia-smi | sed -n 's/.*CUDA Version: *\([0-9.]*\).*/cuda=\1/p'
fi
section amd
if have rocm-smi; then
  within 15 rocm-smi --showproductname --showmeminfo vram --showdriverversion --csv
fi

