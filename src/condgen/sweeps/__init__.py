"""Many DVC experiments at once, searched by Ray Tune: on this machine's cores, or on a cluster's."""
