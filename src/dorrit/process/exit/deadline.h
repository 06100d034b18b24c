/* Ends the process at a time, whatever the interpreter does: it may hold its lock for ever, and when it
 * is taken down no thread of Python runs any more.
 */
#ifndef DORRIT_DEADLINE_H
#define DORRIT_DEADLINE_H

/* From now on the process has so many milliseconds; then the main thread, which must be the caller,
 * gets `number`. Returns 0, or -1 with errno set. What is called again moves the deadline. */
int dorrit_deadline_set(unsigned milliseconds, int number);

/* Installs the handler for a signal, which ends the process with `status`: it writes one line to
 * `report`, which begins with `prefix`, and then what is in the file `traceback`, line by line; then it
 * calls `instead`, unless that is NULL, which may replace the process's image. In a process that was
 * forked meanwhile the signal does what it does by default. Returns 0, or -1 with errno set. The
 * prefix and the line are copied, and cut. */
int dorrit_deadline_catch(int number, int status, int report, int traceback, const char *prefix,
                          const char *line, void (*instead)(void));

#endif
