/*
 * Opens a path below a folder, component by component, following no link: for systems and kernels
 * without openat2(2).
 */
#ifndef LASTCALL_BENEATH_H
#define LASTCALL_BENEATH_H

/* As system_open_beneath, but a link anywhere on the way is ELOOP. */
int beneath_walk(int root, const char *path);

/* The same without a care for where links lead. */
int beneath_follow(int root, const char *path);

#endif
