#!/bin/sh
# Arranges limits in many layouts inside one machine of ../shared/v2vm (run as its root, with the
# host's cgroups and PID namespace) and prints what goinit finds and what Go children get.
#   sh layouts.sh v2|v1 LAYOUT...
# For each layout: `== LAYOUT`, one line of `goinit limits --json`, then `PROGRAM goinit: STATE`
# for every Go program beside this script (go1.24, go1.27-new, …); of those with a new go line also
# `PROGRAM bare: STATE`.
set -u
CG=/sys/fs/cgroup
HERE=/app
KIND=$1
shift

# Ends of a path in every hierarchy: v2 has one, v1 one per controller.
hierarchies() {
    if [ "$KIND" = v2 ]; then echo "$CG"; else
        for dir in "$CG"/*; do if [ -f "$dir/cgroup.procs" ] && [ ! -L "$dir" ]; then echo "$dir"; fi; done
    fi
}
of() { # CONTROLLER: the directory of its hierarchy
    if [ "$KIND" = v2 ]; then echo "$CG"; return; fi
    for dir in $(hierarchies); do
        case ",${dir##*/}," in *",$1,"*) echo "$dir"; return ;; esac
    done
    echo "$CG/unified"
}
make() { # PATH: the cgroup in every hierarchy, with cpu and memory switched on in v2
    for top in $(hierarchies); do
        dir=$top
        for part in $(echo "$1" | tr / ' '); do
            if [ -f "$dir/cgroup.subtree_control" ]; then
                for one in cpu memory cpuset; do echo "+$one" >"$dir/cgroup.subtree_control"; done 2>/dev/null
            fi
            dir=$dir/$part
            mkdir -p "$dir"
            if [ -f "$dir/cpuset.mems" ] && [ ! -f "$dir/cgroup.controllers" ]; then
                cat "${dir%/*}/cpuset.cpus" >"$dir/cpuset.cpus"
                cat "${dir%/*}/cpuset.mems" >"$dir/cpuset.mems"
            fi
        done
    done
}
cpu() { # PATH "QUOTA PERIOD"
    dir=$(of cpu)/$1
    if [ -f "$dir/cpu.max" ]; then echo "$2" >"$dir/cpu.max"; return; fi
    echo "${2#* }" >"$dir/cpu.cfs_period_us"
    echo "${2% *}" >"$dir/cpu.cfs_quota_us"
}
memory() { # PATH BYTES
    dir=$(of memory)/$1
    if [ -f "$dir/memory.max" ]; then echo "$2" >"$dir/memory.max"; else echo "$2" >"$dir/memory.limit_in_bytes"; fi
}
# The writer itself is 0, also in a subshell.
join() { for top in $(hierarchies); do echo 0 >"$top/$1/cgroup.procs"; done; }

# What is printed inside the layout, after the mounts of `$1` were made.
cat >/run/look <<'EOL'
eval "$1"
export GOINIT_TERMINATION_LOG=none
echo "limits $(/app/goinit limits --json | tr -d '\n')"
for program in /app/go1.*; do
    name=${program##*/}
    echo "$name goinit: $(/app/goinit --schedtrace=0 -- "$program" 2>/run/err || { cat /run/err; echo failed; })"
    # Only a runtime that could find the limit by itself is of interest without goinit.
    case $name in *-new) echo "$name bare: $("$program")" ;; esac
done
EOL

# look PATH FLAGS MOUNTS: in the cgroup PATH, in new namespaces (FLAGS of unshare, besides -m).
look() {
    (
        join "$1"
        # shellcheck disable=SC2086
        exec /usr/bin/unshare -m $2 /bin/sh /run/look "$3"
    )
}
fresh='umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup'
# Like a runtime on v1: own parts of each hierarchy on a tmpfs.
binds() { # PATH
    printf 'mkdir -p /run/cg; mount --rbind %s /run/cg; umount -l %s; mount -t tmpfs t %s; ' $CG $CG $CG
    for top in $(hierarchies); do
        name=${top##*/}
        printf 'mkdir %s; mount --bind %s %s; ' "$top" "/run/cg/$name/$1" "$top"
    done
    printf 'umount -l /run/cg'
}
remounts() { # like a runtime on v1 with a private namespace
    printf 'umount -l %s; mount -t tmpfs t %s; ' $CG $CG
    for top in $(hierarchies); do
        name=${top##*/}
        case $name in systemd) continue ;; unified) how='-t cgroup2' ;; *) how="-t cgroup -o $name" ;; esac
        printf 'mkdir %s; mount %s x %s; ' "$top" "$how" "$top"
    done
}

run() { # LAYOUT
    echo "== $1"
    at=test/$1
    make "$at/pod/ctr"
    ctr=$at/pod/ctr
    case $1 in
    own) cpu "$ctr" "150000 100000"; memory "$ctr" 256M; look "$ctr" -C "$fresh" ;;
    odd-period) cpu "$ctr" "50000 20000"; memory "$ctr" 300000000; look "$ctr" -C "$fresh" ;;
    unlimited) look "$ctr" -C "$fresh" ;;
    unlimited-v1) look "$ctr" -C "$(remounts)" ;;
    small) cpu "$ctr" "25000 100000"; memory "$ctr" 64M; look "$ctr" -C "$fresh" ;;
    high) cpu "$ctr" "300000 100000"; memory "$ctr" 256M; echo 128M >"$CG/$ctr/memory.high"; look "$ctr" -C "$fresh" ;;
    high-only) echo 96M >"$CG/$ctr/memory.high"; look "$ctr" -C "$fresh" ;;
    above-ram) memory "$ctr" 64G; cpu "$ctr" "900000 100000"; look "$ctr" -C "$fresh" ;;
    pod-hidden) cpu "$at/pod" "150000 100000"; memory "$at/pod" 256M; look "$ctr" -C "$fresh" ;;
    host-own) cpu "$ctr" "250000 100000"; memory "$ctr" 200M; look "$ctr" '' : ;;
    host-parent) cpu "$at/pod" "150000 100000"; memory "$at/pod" 256M; look "$ctr" '' : ;;
    host-minimum)
        cpu "$at" "400000 100000"; cpu "$at/pod" "150000 100000"; cpu "$ctr" "300000 100000"
        memory "$at" 384M; memory "$at/pod" 256M; memory "$ctr" 512M
        look "$ctr" '' : ;;
    mount-root)
        # Docker in Docker: the namespace begins at the pod, the program is below it.
        cpu "$at/pod" "250000 100000"; memory "$at/pod" 128M
        if [ "$KIND" = v2 ]; then
            part="mkdir -p /run/part; mount --bind $CG/$at/pod /run/part; umount -l $CG; mount --move /run/part $CG"
        else
            part=$(binds "$at/pod")
        fi
        look "$ctr" '' "$part" ;;
    host-mount) cpu "$ctr" "250000 100000"; memory "$at/pod" 256M; look "$ctr" -C : ;;
    no-mount) cpu "$ctr" "150000 100000"; memory "$ctr" 256M; look "$ctr" -C 'umount -l /sys/fs/cgroup' ;;
    blank)
        cpu "$ctr" "75000 100000"; memory "$ctr" 64M
        look "$ctr" -C 'umount -l /sys/fs/cgroup; mkdir -p "/run/c g"; mount -t cgroup2 x "/run/c g"' ;;
    several)
        cpu "$at/pod" "125000 100000"; memory "$at/pod" 80M; make "$at/other"; cpu "$at/other" "10000 100000"
        cpu "$ctr" "400000 100000"
        look "$ctr" '' "mkdir -p /run/a /run/b /run/c; mount --bind $CG/$at/other /run/a; mount --bind $CG/$ctr /run/b; mount --bind $CG/$at/pod /run/c; umount -l $CG" ;;
    above-namespace)
        # The namespace begins at a sibling; the mount reaches up to the pod, which holds both.
        cpu "$at/pod" "125000 100000"; memory "$at/pod" 100M; make "$at/pod/other"; cpu "$ctr" "125000 100000"
        ( join "$at/pod/other"
          exec /usr/bin/unshare -m -C /bin/sh -c "echo 0 >$CG/$ctr/cgroup.procs
              mkdir -p /run/part; mount --bind $CG/$at/pod /run/part; umount -l $CG; mount --move /run/part $CG
              exec sh /run/look :" ) ;;
    cpuset) echo 0-1,5 >"$CG/$ctr/cpuset.cpus"; look "$ctr" -C "$fresh" ;;
    root) ( exec /usr/bin/unshare -m /bin/sh /run/look : ) ;;
    bind) cpu "$ctr" "250000 100000"; memory "$ctr" 200M; look "$ctr" '' "$(binds "$ctr")" ;;
    private) cpu "$ctr" "50000 100000"; memory "$ctr" 100M; look "$ctr" -C "$(remounts)" ;;
    bind-hidden) memory "$at/pod" 48M; cpu "$ctr" "150000 100000"; look "$ctr" '' "$(binds "$ctr")" ;;
    covered)
        cpu "$ctr" "150000 100000"; memory "$at/pod" 48M
        parts=$(for top in $(hierarchies); do printf 'mkdir -p %s; mount --bind /run/cg/%s %s; ' "$top" "${top##*/}/$ctr" "$top"; done)
        look "$ctr" '' "mkdir -p /run/cg; mount --rbind $CG /run/cg; mount -t tmpfs t $CG; $parts" ;;
    *) echo "unknown layout $1"; exit 1 ;;
    esac
}

for layout; do run "$layout"; done
