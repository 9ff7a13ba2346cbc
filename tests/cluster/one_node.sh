#!/usr/bin/env bash
# A real Slurm of one node on this machine: munged, slurmctld and slurmd, bound to the loopback address.
#
#   one_node.sh missing        print the daemons that are not installed
#   one_node.sh install        Debian packages, if they are missing (root, network)
#   one_node.sh up FOLDER      write a configuration into FOLDER, start the daemons, wait until the node is idle
#   one_node.sh lose FOLDER    kill slurmd and the processes of its jobs, as a power cut would
#   one_node.sh back FOLDER    start slurmd again, wait until the node is idle
#   one_node.sh down FOLDER    stop what `up` started, by process id
set -euo pipefail

daemons="slurmctld slurmd munged"
missing() { for daemon in $daemons; do command -v "$daemon" > /dev/null || echo "$daemon"; done; }

install_packages() {
  if [ -n "$(missing)" ]; then
    # Nothing is started by the packages: this script starts what it needs, and stops it.
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends slurm-wlm munge
  fi
}

# Jobs ask for the configuration at the place that is compiled in: the executor plugin removes SLURM_CONF from their
# environment. So a link has to lie there while the cluster runs.
default_conf=/etc/slurm/slurm.conf

configure() {
  local node
  if [ -e $default_conf ] && [ ! -L $default_conf ]; then
    echo "error: $default_conf exists: this machine has a Slurm of its own, which the test must not touch" >&2
    return 1
  fi
  node=$(hostname -s)
  mkdir -p "$folder/state" "$folder/spool"
  (umask 077 && head -c 1024 /dev/urandom > "$folder/munge.key")
  # Without accounting, control groups and systemd: what a container has. MinJobAge keeps finished jobs in squeue.
  # The node says that it has four cores and 32 GB, whatever it has, so that groups of the profile fit, also when they
  # ask for more.
  cat > "$folder/slurm.conf" << END
ClusterName=onenode
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$folder/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=defer_batch,bf_interval=2,sched_interval=2
JobRequeue=0
ReturnToService=2
MinJobAge=86400
KillWait=2
SlurmdTimeout=10
SlurmdParameters=config_overrides
NodeName=$node NodeAddr=127.0.0.1 CPUs=4 RealMemory=32000 State=UNKNOWN
PartitionName=main Nodes=$node Default=YES MaxTime=INFINITE DefMemPerCPU=500 State=UP
END
  mkdir -p "$(dirname $default_conf)"
  ln -sfn "$folder/slurm.conf" $default_conf
}

wait_until_idle() {
  for _ in $(seq 150); do
    if sinfo --noheader --format %T 2> /dev/null | grep -qx idle; then return 0; fi
    sleep 0.2
  done
  echo "error: the node did not become idle within 30 s" >&2
  tail -n 20 "$folder/slurmctld.log" "$folder/slurmd.log" >&2
  return 1
}

# Print the living process of a daemon, if there is one.
process() {
  local pid
  pid=$(cat "$folder/$1.pid" 2> /dev/null) && kill -0 "$pid" 2> /dev/null && echo "$pid"
}

stop() {
  local pid
  pid=$(process "$1") || return 0
  kill "$pid" 2> /dev/null || true
  for _ in $(seq 50); do
    kill -0 "$pid" 2> /dev/null || return 0
    sleep 0.1
  done
  kill -9 "$pid" 2> /dev/null || true
}

# Print a process and all below it.
descendants() {
  local child
  echo "$1"
  for child in $(cat "/proc/$1/task"/*/children 2> /dev/null); do descendants "$child"; done
}

# Print the step managers of the jobs. There is no other Slurm on this machine: `up` refuses if there is.
step_managers() {
  local entry
  for entry in /proc/[0-9]*; do
    if [ "$(cat "$entry/comm" 2> /dev/null)" = slurmstepd ]; then basename "$entry"; fi
  done
}

up() {
  configure
  munged --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munged.seed"
  slurmctld -f "$folder/slurm.conf"
  slurmd -f "$folder/slurm.conf"
  wait_until_idle
}

lose() {
  local pid doomed
  pid=$(process slurmd)
  kill -9 "$pid"
  # What the jobs have started goes with their managers, all listed before the first is killed.
  doomed=$(for pid in $(step_managers); do descendants "$pid"; done)
  for pid in $doomed; do kill -9 "$pid" 2> /dev/null || true; done
}

back() {
  slurmd -f "$folder/slurm.conf"
  wait_until_idle
}

down() {
  local pid
  [ -e "$folder/slurm.conf" ] || return 0
  scancel --user="$(id -un)" 2> /dev/null || true
  for daemon in slurmd slurmctld munged; do stop "$daemon"; done
  for pid in $(step_managers); do kill "$pid" 2> /dev/null || true; done
  if [ "$(readlink $default_conf)" = "$folder/slurm.conf" ]; then rm -f $default_conf; fi
}

case "${1:-}" in
  missing) missing ;;
  install) install_packages ;;
  up | lose | back | down)
    folder=${2:?the folder of the cluster, such as /tmp/one_node}
    export SLURM_CONF="$folder/slurm.conf"
    "$1"
    ;;
  *)
    echo "usage: one_node.sh missing | install | up FOLDER | lose FOLDER | back FOLDER | down FOLDER" >&2
    exit 2
    ;;
esac
